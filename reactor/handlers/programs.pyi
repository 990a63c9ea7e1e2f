from handlers.programs import *
