from handlers.blocking import *
