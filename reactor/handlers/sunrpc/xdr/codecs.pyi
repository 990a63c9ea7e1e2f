from handlers.sunrpc.xdr.codecs import *
