from handlers.files import *
