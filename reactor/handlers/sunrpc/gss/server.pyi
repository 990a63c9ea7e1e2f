from handlers.sunrpc.gss.server import *
