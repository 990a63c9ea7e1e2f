from handlers.sunrpc.xdr.writer import *
