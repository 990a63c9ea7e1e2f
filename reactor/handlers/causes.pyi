from handlers.causes import *
