from handlers.sunrpc.language.grammar import *
