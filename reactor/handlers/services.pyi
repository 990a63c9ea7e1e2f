from handlers.services import *
