FROM scratch as b
FOO
