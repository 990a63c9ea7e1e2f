from handlers.sunrpc.xdr.quadruple import *
