from handlers.packet_filter import *
