from handlers.sunrpc.xdr.packing import *
