from handlers.blocking.buffered import *
