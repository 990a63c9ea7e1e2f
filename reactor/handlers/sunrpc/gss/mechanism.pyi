from handlers.sunrpc.gss.mechanism import *
