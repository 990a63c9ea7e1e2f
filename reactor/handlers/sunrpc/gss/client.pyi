from handlers.sunrpc.gss.client import *
