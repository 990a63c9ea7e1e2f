from handlers.events import *
