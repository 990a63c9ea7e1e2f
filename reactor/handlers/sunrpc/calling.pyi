from handlers.sunrpc.calling import *
