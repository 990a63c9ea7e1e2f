from handlers.handler import *
