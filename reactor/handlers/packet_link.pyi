from handlers.packet_link import *
