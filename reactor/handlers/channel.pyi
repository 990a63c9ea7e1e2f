from handlers.channel import *
