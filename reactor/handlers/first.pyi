from handlers.first import *
