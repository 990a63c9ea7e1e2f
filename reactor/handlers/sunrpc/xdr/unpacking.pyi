from handlers.sunrpc.xdr.unpacking import *
