from handlers.sunrpc.__main__ import *
