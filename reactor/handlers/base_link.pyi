from handlers.base_link import *
