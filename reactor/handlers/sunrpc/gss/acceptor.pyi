from handlers.sunrpc.gss.acceptor import *
