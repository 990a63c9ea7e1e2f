from handlers.saying import *
