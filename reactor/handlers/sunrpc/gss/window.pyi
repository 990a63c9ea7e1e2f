from handlers.sunrpc.gss.window import *
