# a
#
FROM scratch AS Bad
COPY $foo \

  /x
MAINTAINER me
EXPOSE 80/TCP
