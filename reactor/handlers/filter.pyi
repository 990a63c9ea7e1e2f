from handlers.filter import *
