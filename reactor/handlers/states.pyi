from handlers.states import *
