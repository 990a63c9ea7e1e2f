from handlers.sunrpc.xdr.errors import *
