from handlers.sunrpc.gss.library import *
