from handlers.sunrpc.language.tree import *
