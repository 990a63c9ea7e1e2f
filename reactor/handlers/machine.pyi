from handlers.machine import *
