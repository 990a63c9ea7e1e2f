from handlers.sunrpc.language import *
