from handlers.sunrpc.program import *
