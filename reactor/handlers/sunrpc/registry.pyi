from handlers.sunrpc.registry import *
