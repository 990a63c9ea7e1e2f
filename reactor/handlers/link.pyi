from handlers.link import *
