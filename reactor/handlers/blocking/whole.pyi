from handlers.blocking.whole import *
