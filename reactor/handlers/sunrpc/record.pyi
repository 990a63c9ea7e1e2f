from handlers.sunrpc.record import *
