from handlers.auth.basic import *
