from handlers.sunrpc.message import *
