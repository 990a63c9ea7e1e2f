from handlers.sunrpc.command import *
