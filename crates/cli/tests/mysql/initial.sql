create user byway@'%' identified by 'not-for-the-wire';
create user other@'%' identified by 'not-for-the-wire';
grant all on *.* to byway@'%';
grant all on *.* to other@'%';
create database shop character set utf8mb4;
create table shop.orders (id int auto_increment primary key, what varchar(200), price decimal(10, 2), made datetime, photo longblob);
