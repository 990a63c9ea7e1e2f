from handlers.sunrpc.xdr.types import *
