from handlers.sunrpc.language.preprocess import *
