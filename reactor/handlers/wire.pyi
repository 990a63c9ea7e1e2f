from handlers.wire import *
