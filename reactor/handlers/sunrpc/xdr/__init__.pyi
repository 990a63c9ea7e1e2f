from handlers.sunrpc.xdr import *
