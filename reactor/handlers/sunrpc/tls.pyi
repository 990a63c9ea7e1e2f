from handlers.sunrpc.tls import *
