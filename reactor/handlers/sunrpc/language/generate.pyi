from handlers.sunrpc.language.generate import *
