from handlers.sunrpc.gss.wire import *
