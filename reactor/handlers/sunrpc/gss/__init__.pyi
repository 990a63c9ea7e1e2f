from handlers.sunrpc.gss import *
