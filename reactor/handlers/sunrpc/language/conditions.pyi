from handlers.sunrpc.language.conditions import *
